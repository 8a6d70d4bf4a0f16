"""`door_insert`: the same post as in `door`; the receiver inserts a row."""

from benchmarks.door import compare

if __name__ == "__main__":
    compare("insert", posts=(20, 1), times=5)
