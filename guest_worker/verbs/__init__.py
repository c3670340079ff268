"""What a guest can be asked: one class for each port."""
