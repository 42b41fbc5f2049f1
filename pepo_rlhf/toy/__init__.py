"""The embedded default: a generated visual task, and a tiny model that can learn it on a CPU."""
