"""Searching: tools that evaluate a point, samplers that choose one, and the loop over Ray Tune around them."""
