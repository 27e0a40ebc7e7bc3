"""Find the moment in a video: what was said, shown, written and heard."""
