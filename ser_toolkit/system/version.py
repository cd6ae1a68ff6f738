"""Version of the package, written here alone."""

VERSION = "0.1.0"
