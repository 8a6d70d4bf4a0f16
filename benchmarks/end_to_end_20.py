"""`end_to_end_20`: events a second from post to receiver, in posts of 20."""

from benchmarks.end_to_end import compare

if __name__ == "__main__":
    compare(size=20, ours=20_000, rival=600)
