"""How a challenger becomes the champion, and how the old champion comes back."""
