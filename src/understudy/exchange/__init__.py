"""What is handed to other evaluation tools, in their own formats."""
