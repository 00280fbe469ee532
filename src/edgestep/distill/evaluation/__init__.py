"""How well a generator draws: distances to the real pictures, concepts, diversity, evaluations and time, no network."""
