"""Readers of datasets, a file for each kind: folders, lists, arrays, tables and torchvision's names."""
