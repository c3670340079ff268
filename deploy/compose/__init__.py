"""What docker-compose.yml needs besides the images."""
