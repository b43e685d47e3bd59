"""The figures of a run, as plotly figures: for notebooks, the report and the board.

    results.plot.progress()      # also rungs, parallel, importance, slices, curves, timeline, schedules, ...

A figure shows at most some hundred or thousand marks, however large the run. Where it shows a part, its
`layout.meta["note"]` says which.
"""
