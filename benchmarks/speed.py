"""What does an ensemble cost? Every bar of the speed issue, contenders alternating in one run.

    python benchmarks/speed.py layer              # a layer's training step, about 2 minutes
    python benchmarks/speed.py fit --scale 0.1    # 5 members against a plain fine-tune
    python benchmarks/speed.py fit --blocks 2     # the same with a third of the blocks
    python benchmarks/speed.py fit --blocks 3 --core 32 # the leading 32 x 32 core of the last three
    python benchmarks/speed.py predict            # 5 members on 2,000 reviews; one review, 8 members
    python benchmarks/speed.py memory             # peak of fit, each contender in its own process
    python benchmarks/speed.py svd                # decompositions, cold and cached
    python benchmarks/speed.py profile            # where the time of a fit goes; achieved GFLOP/s

`--device cuda` runs fit, predict and memory on a GPU. Writes results/speed_<command>.json (the
number of rows in its name unless it is 2,000), with ratios
to the baseline as quartiles over the rounds: both contenders of a ratio ran one after the other.
"""

import argparse

import _speed_model
import _speed_parts

COMMANDS = {
    "layer": _speed_parts.layer,
    "svd": _speed_parts.svd,
    "fit": _speed_model.fit,
    "predict": _speed_model.predict,
    "memory": _speed_model.memory,
    "peak": _speed_model.peak,
    "profile": _speed_model.profile,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 2,000 reviews")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=None, help="adapt_blocks; None: all")
    parser.add_argument("--core", type=int, default=None, help="rank, with all off-diagonals")
    parser.add_argument("--two", action="store_true", help="fit: no third contender")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--contender", choices=["plain", "ensemble"], help="of `peak`")
    args = parser.parse_args()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
