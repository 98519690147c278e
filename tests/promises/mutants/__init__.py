"""Takes the guard of each promise out of a copy of the code, and sees that the tests of the promise fail."""
