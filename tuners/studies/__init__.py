"""Live studies: how points are chosen, ahead of time, for workers that ask for them."""
