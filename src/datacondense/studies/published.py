"""Published accuracies as printed: rows are what a set was condensed with, columns what was trained on it.

All are for MNIST at one image per class unless a name says otherwise (Zhao, Mopuri, Bilen, ICLR 2021).
"""

from collections.abc import Mapping, Sequence

from datacondense.studies.study import Entry, Published

PAPER = "Zhao, Mopuri, Bilen, ICLR 2021"
APPENDIX = f"{PAPER}, appendix (recalled, not checked against the print)"

NETWORKS = ("MLP", "ConvNet", "LeNet", "AlexNet", "VGG", "ResNet")

CROSS_ARCHITECTURE = """
    70.5±1.2 63.9±6.5 77.3±5.8 70.9±11.6 53.2±7.0 80.9±3.6
    69.6±1.6 91.7±0.5 85.3±1.8 85.1±3.0 83.4±1.8 90.0±0.8
    71.0±1.6 90.3±1.2 85.0±1.7 84.7±2.4 80.3±2.7 89.0±0.8
    72.1±1.7 87.5±1.6 84.0±2.8 82.7±2.9 81.2±3.0 88.9±1.1
    70.3±1.6 90.1±0.7 83.9±2.7 83.4±3.7 81.7±2.6 89.1±0.9
    73.6±1.2 91.6±0.5 86.4±1.5 85.4±1.9 83.4±2.4 89.4±0.9
"""  # Table 2

ACTIVATION = """
    86.7±0.7 91.2±0.6 91.2±0.6
    86.1±0.9 91.7±0.5 91.7±0.5
    86.3±0.9 91.7±0.5 91.7±0.4
"""

POOLING = """
    78.7±3.0 80.8±3.5 88.3±1.0
    81.2±2.8 89.5±1.1 91.1±0.6
    81.8±2.9 90.2±0.8 91.7±0.5
"""

NORM = """
    79.0±2.2 80.8±2.0 85.8±1.7 90.7±0.7 85.9±1.7
    78.6±2.1 80.7±1.8 85.7±1.6 90.9±0.6 85.9±1.5
    81.2±1.8 78.6±3.0 87.4±1.3 90.7±0.7 87.3±1.4
    72.9±7.1 56.7±6.5 82.7±5.3 91.7±0.5 84.3±4.2
    79.5±2.1 81.8±2.3 87.3±1.2 91.6±0.5 87.2±1.2
"""

DEPTH = """
    61.3±3.5 78.2±3.0 77.1±4.0 76.4±3.5
    78.3±2.3 89.0±0.8 91.0±0.6 89.4±0.8
    81.6±1.5 89.8±0.8 91.7±0.5 90.4±0.6
    82.5±1.3 89.9±0.8 91.9±0.5 90.6±0.4
"""

WIDTH = """
    90.6±0.8 91.4±0.5 91.5±0.5 91.3±0.6
    91.0±0.8 91.6±0.6 91.8±0.5 91.4±0.6
    90.8±0.7 91.5±0.6 91.7±0.5 91.2±0.7
    91.0±0.7 91.6±0.6 91.7±0.5 91.4±0.5
"""

DISTANCE = """
    70.5±1.2 91.7±0.5 85.0±1.7 82.7±2.9 81.7±2.6 89.4±0.9
    45.2±3.6 69.2±2.7 61.1±8.2 58.3±4.1 55.0±5.0 68.8±7.8
    69.3±0.9 92.7±0.3 65.0±5.1 66.2±5.6 57.1±7.0 68.0±5.2
"""  # rows: layer-wise cosine, flat cosine, squared; columns: both condensed and trained with

IPCS = ("1", "10", "20", "30", "40", "50")
# Figure 3, read off the figure (±0.05 for MNIST and Fashion-MNIST, ±0.1 for CIFAR-10, ±0.3 for SVHN): gradient
# matching and herding.
IPC = {
    "mnist": """
        91.7 97.4 98.4 98.5 98.7 98.8
        89.2 93.7 94.0 94.3 94.5 94.7
    """,
    "fashion-mnist": """
        70.6 82.3 84.3 83.4 83.7 83.6
        67.1 71.1 72.0 72.3 72.9 72.8
    """,
    "svhn": """
        31.8 76.0 79.2 81.2 81.5 82.3
        21.2 50.5 63.0 68.1 71.0 72.1
    """,
    "cifar10": """
        28.4 44.9 50.3 53.0 53.8 53.9
        21.6 31.6 35.4 37.8 39.7 40.7
    """,
}

# Table 1. Rows and columns as in the study; 0 means not printed.
PLAIN_ROWS = ("random", "herding", "k-center", "forgetting", "gradient-matching")
SIAMESE_ROWS = ("siamese-matching", "distribution-matching")  # scored under Siamese augmentation
COMPARISON_SOURCE = f"{PAPER}, Table 1; Zhao and Bilen, ICML 2021 and WACV 2023"
COMPARISON = {
    "mnist": {
        "plain": """
            64.9±3.5 95.1±0.9 97.9±0.2
            89.2±1.6 93.7±0.3 94.9±0.2
            89.3±1.5 84.4±1.7 97.4±0.3
            35.5±5.6 68.1±3.3 88.2±1.2
            91.7±0.5 97.4±0.2 98.8±0.2
        """,
        "dsa": """
            88.7±0.6 97.8±0.1 99.2±0.1
            0 0 0
        """,
    },
    "fashion-mnist": {
        "plain": """
            51.4±3.8 73.8±0.7 82.5±0.7
            67.0±1.9 71.1±0.7 71.9±0.8
            66.9±1.8 54.7±1.5 68.3±0.8
            42.0±5.5 53.9±2.0 55.0±1.1
            70.5±0.6 82.3±0.4 83.6±0.4
        """,
        "dsa": """
            70.6±0.6 84.6±0.3 88.7±0.2
            0 0 0
        """,
    },
    "svhn": {
        "plain": """
            14.6±1.6 35.1±4.1 70.9±0.9
            20.9±1.3 50.5±3.3 72.6±0.8
            21.0±1.5 14.0±1.3 20.1±1.4
            12.1±1.7 16.8±1.2 27.2±1.5
            31.2±1.4 76.1±0.6 82.3±0.3
        """,
        "dsa": """
            27.5±1.4 79.2±0.5 84.4±0.4
            0 0 0
        """,
    },
    "cifar10": {
        "plain": """
            14.4±2.0 26.0±1.2 43.4±1.0
            21.5±1.2 31.6±0.7 40.4±0.6
            21.5±1.3 14.7±0.9 27.0±1.4
            13.5±1.2 23.3±1.0 23.3±1.1
            28.3±0.5 44.9±0.5 53.9±0.5
        """,
        "dsa": """
            28.8±0.7 52.1±0.5 60.6±0.5
            26.0±0.8 48.9±0.6 63.0±0.4
        """,
    },
}
# Table 3, for LeNet on MNIST and AlexCifarNet on CIFAR-10.
OWN_STEPS = "dataset-distillation, its own steps"
DISTILLATION = {
    "mnist": {
        (OWN_STEPS, "10"): Published(79.5, 8.1),
        ("gradient-matching", "1"): Published(85.0, 1.6),
        ("gradient-matching", "10"): Published(93.9, 0.6),
    },
    "cifar10": {
        (OWN_STEPS, "10"): Published(36.8, 1.2),
        ("gradient-matching", "1"): Published(24.2, 0.9),
        ("gradient-matching", "10"): Published(39.1, 1.2),
    },
}


def published_entries(table: str, rows: Sequence[str], columns: Sequence[str]) -> Mapping[Entry, Published]:
    """Read a printed table.

    Args:
        table: One line per row, with values such as 91.7±0.5 or 91.7 separated by spaces.
        rows: Labels of its rows.
        columns: Labels of its columns.

    Returns:
        The values by labels.
    """
    lines = [line.split() for line in table.split("\n") if line.strip()]
    return {
        (row, column): Published(*map(float, value.split("±")))
        for row, values in zip(rows, lines, strict=True)
        for column, value in zip(columns, values, strict=True)
    }
