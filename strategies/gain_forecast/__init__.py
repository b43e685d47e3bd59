"""What going on with a search would gain: a forecast from its own outcomes, and the rule that ends it.

`record` folds the outcomes, `forecast` is the distribution of the gain, `stopping` decides. Pure: the same
outcomes give the same forecast in every life of a search.
"""
