"""The route graph as a picture, and the picture as text for people and for programs that draw."""
