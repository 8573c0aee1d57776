"""Readers of datasets, one file per kind: folders, lists, arrays, tables and torchvision's datasets."""
