"""What people look at: a run as a table and a picture."""
