"""Omni's eyes: text, objects, faces, labels and colours in images, and answers that cite them."""
