"""What each help opens with: commands to copy."""

URL = "https://arxiv.org/abs/1512.03385"  # of the paper; the project has no page of its own yet

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("degrade sweep study=quickstart", "degrade compare results", "degrade plot results"),
    "sweep": ("degrade sweep study=quickstart", "degrade sweep data=digits depth=8,20 net=plain,residual seed=0,1,2"),
    "train": ("degrade train data=digits net=plain depth=20",),
    "plan": ("degrade plan study=quickstart3", "degrade plan --power depth=20,56 seed=0,1,2"),
    "status": ("degrade status results", "degrade status --watch"),
    "plot": ("degrade plot results", "degrade plot results --figure fig6"),
    "compare": ("degrade compare results", "degrade compare results --table verdicts --format markdown"),
    "report": ("degrade report results", "degrade report results -o study.html --watch"),
    "responses": ("degrade responses results",),
    "evaluate": ("degrade evaluate plain-20-s0", "degrade evaluate weights.pth:net=plain data=cifar10"),
    "ensemble": ("degrade ensemble plain-20-s0 plain-20-s1",),
    "construct": ("degrade construct plain-8-s0 depth=14 --train",),
    "identity": ("degrade identity", "degrade identity --net residual --blocks 1,4"),
    "nets": ("degrade nets depth=20,56,110",),
    "keys": ("degrade keys", "degrade keys lr data=digits"),
    "doctor": ("degrade doctor", "degrade doctor results --json"),
    "rerun": ("degrade rerun plain-20-s0",),
    "recipe-diff": ("degrade recipe-diff plain-20-s0",),
    "clean": ("degrade clean results --failed",),
    "verify": ("degrade verify results",),
    "share": ("degrade share results --out to-share",),
    "export": ("degrade export results --to csv -o curves.csv", "degrade export plain-20-s0 --to safetensors -o nets"),
    "guide": ("degrade guide",),
    "bench": ("degrade bench --check",),
}


def open_with_examples(name: str, text: str) -> str:
    """The help of a command, its examples first. A command that somebody added may have none."""
    shown = EXAMPLES.get(name, ())
    lines = "\n".join(f"  {line}" for line in shown)
    return f"\b\nExamples:\n{lines}\n\n{text}" if shown else text
