"""`door_insert`: the same post, a receiver that inserts a row."""

from benchmarks.door import compare

if __name__ == "__main__":
    compare("door_insert", "insert", posts=(20, 1), times=10)
