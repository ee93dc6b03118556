"""The gated ResNet-18 in C++: closed channels are neither computed nor read."""
