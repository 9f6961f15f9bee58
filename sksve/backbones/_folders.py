"""What a folder is: a model, or something that looks like one."""

from pathlib import Path


def holds_model(folder: Path) -> bool:
    """Whether a folder has a configuration and safetensors: weights in a pickle are never read."""
    weights = ("*.safetensors", "*.safetensors.index.json")
    return (folder / "config.json").is_file() and any(any(folder.glob(w)) for w in weights)


def what_it_is(folder: Path) -> str:
    """Say what a folder without a model that can be loaded is, and what to do; "" where that is unknown."""
    if (folder / "adapter_config.json").is_file():
        return (
            "holds an adapter (LoRA) and not a whole model. Merge it: peft.AutoPeftModel."
            "from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW), with its tokenizer."
        )
    inside = sorted(f for f in folder.glob("*/") if holds_model(f))
    steps = [f for f in inside if f.name.startswith("checkpoint-")]
    if steps:
        last = max(steps, key=lambda f: int("0" + "".join(filter(str.isdigit, f.name))))
        return f"is the output folder of a Trainer. Give one of its checkpoints: {str(last)!r}."
    if (folder / "modules.json").is_file() and inside:
        return (
            "is a sentence-transformers model whose transformer lies in a folder of its own. Give that, "
            f"and how it is pooled: sksve.Backbone({str(inside[0])!r}, pooling='mean')."
        )
    for pattern in ("pytorch_model*.bin", "tf_model.h5", "flax_model.msgpack", "*.gguf"):
        if any(folder.glob(pattern)):
            return (
                f"has weights as {pattern}, which sksve does not read (a pickle can run code). Convert it "
                "where you trust it: transformers.AutoModel.from_pretrained(FOLDER).save_pretrained(NEW), "
                "with its tokenizer; older files need torch, TensorFlow or Flax for that."
            )
    return ""
