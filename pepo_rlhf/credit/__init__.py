"""Does a signal find the tokens that depend on the image, on a user's own model and data?"""
