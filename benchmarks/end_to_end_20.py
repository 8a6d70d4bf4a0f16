"""Events from post to receiver, in posts of 20."""

from benchmarks.end_to_end import compare

if __name__ == "__main__":
    compare("end_to_end_20", size=20, ours=20_000, rival=2000)
