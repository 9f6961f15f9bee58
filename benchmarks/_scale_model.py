"""The cost model of docs/scale.md: 7 billion parameters, 16 members, 10^8 rows. Formulas only."""

from dataclasses import dataclass

# Llama-2-7B: 32 blocks of four square matrices and three of d x f (arXiv 2307.09288). No biases.
D, F, BLOCKS, VOCABULARY = 4096, 11008, 32, 32000
LAYERS = [(D, D)] * 4 + [(F, D)] * 2 + [(D, F)]
MEMBERS, ROWS, TOKENS, CLASSES, EPOCHS, BATCH = 16, 10**8, 64, 2, 1, 1024

# NVIDIA, H100 Tensor Core GPU data sheet, SXM: bfloat16 without sparsity, memory, its bandwidth, NVLink;
# and one NDR InfiniBand port, 400 Gbit/s.
H100 = {"bf16_tflops": 989.4, "memory_gb": 80, "memory_gb_s": 3350, "nvlink_gb_s": 900,
        "network_gb_s": 50}  # fmt: skip
# Share of the peak that a training step reaches. Not measured by us on such a device.
UTILISATION = 0.4


def k(o, i):
    return min(o, i)


def frozen_numbers():
    """Numbers of the adapted weights, of their factors U and V, and of the embeddings."""
    weights = BLOCKS * sum(o * i for o, i in LAYERS)
    factors = BLOCKS * sum(k(o, i) * (o + i) for o, i in LAYERS)
    return {"weights": weights, "factors": factors, "embeddings": VOCABULARY * D}


def member_numbers(blocks=BLOCKS):
    """Trained numbers of one member: singular values and the head."""
    return blocks * sum(k(o, i) for o, i in LAYERS) + D * CLASSES + CLASSES


def kept_per_token(blocks=BLOCKS):
    """Numbers a token leaves for the backward pass: outputs, and x V, of each layer."""
    return blocks * sum(o + k(o, i) for o, i in LAYERS)


def attention(blocks=BLOCKS):
    """Multiply-adds of a token's scores and sums, forward: 2 t d a block."""
    return blocks * 2 * TOKENS * D


def step_work(tokens, members, blocks=BLOCKS):
    """Multiply-adds of `members` members for `tokens` tokens each, forward and backward."""
    per_block = 0
    for o, i in LAYERS:
        per_block += 2 * tokens * k(o, i) * (o + i)
    return members * (blocks * per_block + 3 * attention(blocks) * tokens)


@dataclass(frozen=True)
class Plan:
    """Groups of devices: members are split over groups, rows over the devices of a group."""

    name: str
    groups: int
    per_group: int
    blocks: int = BLOCKS

    @property
    def devices(self):
        return self.groups * self.per_group

    def numbers(self):
        """What this plan costs; bytes, seconds, days."""
        members = MEMBERS // self.groups
        tokens = BATCH * TOKENS // self.per_group  # of a member, on a device, in a step
        work = step_work(tokens, members, self.blocks)
        frozen_blocks = BLOCKS - self.blocks
        forward = sum(o * i for o, i in LAYERS) + attention(1)
        work += frozen_blocks * forward * tokens  # once for all members of the device
        compute = 2 * work / (H100["bf16_tflops"] * 1e12 * UTILISATION)
        learned = members * member_numbers(self.blocks)
        n = self.per_group
        sent = 4 * learned * 2 * (n - 1) / n  # ring all-reduce, float32
        traffic = sent / (H100["network_gb_s"] * 1e9)
        steps = EPOCHS * ROWS / BATCH
        frozen = frozen_numbers()
        share = self.blocks / BLOCKS
        adapted, rest = frozen["factors"] * share, frozen["weights"] * (1 - share)
        rest += frozen["embeddings"]
        free = H100["memory_gb"] * 1e9 - 2 * (adapted + rest) - 16 * learned
        return {
            "plan": self.name,
            "devices": self.devices,
            "members_per_device": members,
            "tokens_per_member_step": tokens,
            "frozen_gb_float32": 4 * (adapted + rest) / 1e9,
            "frozen_gb_bfloat16": 2 * (adapted + rest) / 1e9,
            "frozen_gb_int8": (adapted + rest) / 1e9,
            "members_mb": 16 * learned / 1e6,
            "pass_mb_per_1000_tokens": 2 * 1000 * kept_per_token(self.blocks) / 1e6,
            "tokens_of_a_pass": int(free / (2 * kept_per_token(self.blocks))),
            "step_s": compute,
            "sent_mb_per_step": sent / 1e6,
            "all_reduce_s": traffic,
            "traffic_share": traffic / (traffic + compute),
            "days": steps * (compute + traffic) / 86400,
            "device_days": self.devices * steps * (compute + traffic) / 86400,
        }


PLANS = [
    Plan("rows apart, 64 devices", 1, 64),
    Plan("members apart, 16 devices", 16, 1),
    Plan("both, 16 groups of 4", 16, 4),
    Plan("both, 4 groups of 16", 4, 16),
    Plan("rows apart, last 8 blocks", 1, 64, 8),
]


def whole(measured):
    """What does not depend on the plan; the constants that are ours are measured here."""
    frozen = frozen_numbers()
    svd = measured["svd_float64"]
    largest = max(svd, key=lambda row: row["shape"][0] * row["shape"][1] ** 2)
    o, i = largest["shape"]
    rate = largest["seconds"] / (o * i * k(o, i))  # seconds per o i k
    svd_seconds = {f"{o} x {i}": rate * o * i * k(o, i) for o, i in sorted(set(LAYERS))}
    all_svd = BLOCKS * sum(rate * o * i * k(o, i) for o, i in LAYERS)
    forward = MEMBERS * (frozen["weights"] + attention())
    predict = 2 * forward * ROWS * TOKENS / (H100["bf16_tflops"] * 1e12 * UTILISATION)
    train = step_work(BATCH * TOKENS, MEMBERS) * EPOCHS * ROWS / BATCH
    core = measured["matmul_gflop_s"] * 1e9
    return {
        "adapted_weights_billion": frozen["weights"] / 1e9,
        "factors_billion": frozen["factors"] / 1e9,
        "numbers_per_member": member_numbers(),
        "gradients_gb_of_full_fine_tuning_bfloat16": 2 * frozen["weights"] / 1e9,
        "saved_members_mb": 4 * MEMBERS * member_numbers() / 1e6,
        "svd_cache_gb_float64": 8 * (frozen["factors"] + BLOCKS * len(LAYERS) * D) / 1e9,
        "svd_seconds": svd_seconds,
        "svd_hours_all": all_svd / 3600,
        "token_ids_gb": 4 * ROWS * TOKENS / 1e9,
        "row_books_gb": ROWS * (8 + 8 + 8 + 4) / 1e9,  # start, length, target, weight
        "features_tb_bfloat16": 2 * ROWS * TOKENS * D / 1e12,
        "probabilities_gb": 8 * ROWS * CLASSES / 1e9,
        "read_frozen_s": 2 * frozen["weights"] / (measured["disk_read_gb_s"] * 1e9),
        "fsdp_gather_s_per_step": 2 * 2 * frozen["factors"] / (H100["network_gb_s"] * 1e9),
        "predict_device_days": predict / 86400,
        "train_years_on_one_core": 2 * train / core / 86400 / 365.25,
        "gloo_s_per_step": 4 * MEMBERS * member_numbers() / (measured["gloo"][-1]["gb_s"] * 1e9),
    }
