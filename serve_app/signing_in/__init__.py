"""Signing in elsewhere: OpenID Connect for people, JWTs for programs, and the cookies of browsers that signed in."""
