"""Metrics of saliency on panoramas, one file each.

:func:`ssl_kedro.saliency.metric.metrics` finds them, with those of other installed packages.

Definitions are those of the MIT saliency benchmark, in `planar` mode to the letter; p and t are
prediction and truth as distributions. Sources: Bylinskii et al., "What do different evaluation
metrics tell us about saliency models?", arXiv:1604.03605, and code_forMetrics of the benchmark;
Kuemmerer, Wallis and Bethge, PNAS 112 (2015), for information gain; comparison/saliencyMetrics.py
of the Salient360! toolbox for `authors` mode.
"""
