"""How an image is built that a guest boots from."""
