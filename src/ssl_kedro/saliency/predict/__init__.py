"""Where people will look: a trained model on images, folders and videos; its speed; its export."""
