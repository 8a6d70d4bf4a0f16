"""`end_to_end_1000`: events a second from post to receiver, in posts of 1,000."""

from benchmarks.end_to_end import compare

if __name__ == "__main__":
    compare(size=1000, ours=30_000, rival=1000)
