"""The template `vision`: a small convolutional network that says which class an image is of."""
