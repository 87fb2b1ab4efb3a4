"""What is in an image: an ImageNet classifier, and what its classes say about sounds."""
