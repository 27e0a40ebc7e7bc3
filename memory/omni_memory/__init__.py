"""The shared memory: one timeline of moments that every plugin writes to and reads from.

A write is acknowledged once it is in the journal (`journal`), goes to LanceDB in the background
(`store`, `tables`), and is found by meaning and by words (`recall`, `matrix`).
"""

__version__ = "0.1.0"
