"""Text of a terminal, for every interface: tables that fit a width, and pictures of characters."""
