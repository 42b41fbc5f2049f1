"""The controller's side: from samples to token advantages to an update, and how upstream comes to use it."""
