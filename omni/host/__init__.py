"""The plugin host: manifest first, one plugin at a time, failures contained."""
