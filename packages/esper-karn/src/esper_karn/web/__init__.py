"""The web server: runs as JSON, live frames over a socket, and the page that shows them."""
