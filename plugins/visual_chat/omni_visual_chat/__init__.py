"""Talk about what is shown: camera, screen, pictures, receipts and documents."""
