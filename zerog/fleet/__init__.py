"""Workers as other processes see them."""
