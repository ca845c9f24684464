"""The closed list of strategies: the router serves them, experiments compare them."""

STRATEGIES = ("complexity", "learning", "hybrid", "cascade", "cheapest", "best", "fixed")
