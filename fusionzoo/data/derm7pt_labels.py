"""Derm7pt: the labels of each class, the values of the metadata, and what gives answers away.

Source: Kawahara et al., IEEE J. Biomed. Health Inform. 23, 2019: Table I and the grouping of
infrequent labels.
"""

from __future__ import annotations

from collections.abc import Mapping

_ABSENT, _REGULAR, _IRREGULAR = ("absent",), ("regular",), ("irregular",)

#: Per task, which bears the name of its column in `meta.csv`: each class in order, with its labels.
TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "diagnosis": {
        "BCC": ("basal cell carcinoma",),
        "NEV": (
            "blue nevus",
            "clark nevus",
            "combined nevus",
            "congenital nevus",
            "dermal nevus",
            "recurrent nevus",
            "reed or spitz nevus",
        ),
        "MEL": (
            "melanoma",
            "melanoma (in situ)",
            "melanoma (less than 0.76 mm)",
            "melanoma (0.76 to 1.5 mm)",
            "melanoma (more than 1.5 mm)",
            "melanoma metastasis",
        ),
        "MISC": ("dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"),
        "SK": ("seborrheic keratosis",),
    },
    "pigment_network": {
        "absent": _ABSENT,
        "typical": ("typical",),
        "atypical": ("atypical",),
    },
    "blue_whitish_veil": {
        "absent": _ABSENT,
        "present": ("present",),
    },
    "vascular_structures": {
        "absent": _ABSENT,
        "regular": ("arborizing", "comma", "hairpin", "within regression", "wreath"),
        "irregular": ("dotted", "linear irregular"),
    },
    "pigmentation": {
        "absent": _ABSENT,
        "regular": ("diffuse regular", "localized regular"),
        "irregular": ("diffuse irregular", "localized irregular"),
    },
    "streaks": {
        "absent": _ABSENT,
        "regular": _REGULAR,
        "irregular": _IRREGULAR,
    },
    "dots_and_globules": {
        "absent": _ABSENT,
        "regular": _REGULAR,
        "irregular": _IRREGULAR,
    },
    "regression_structures": {
        "absent": _ABSENT,
        "present": ("blue areas", "white areas", "combinations"),
    },
}

#: Columns of metadata, with every value that they have.
VOCABULARY: Mapping[str, tuple[str, ...]] = {
    "elevation": ("flat", "nodular", "palpable"),
    "sex": ("female", "male"),
    "location": (
        "abdomen",
        "acral",
        "back",
        "buttocks",
        "chest",
        "genital areas",
        "head neck",
        "lower limbs",
        "upper limbs",
    ),
    "level_of_diagnostic_difficulty": ("low", "medium", "high"),
    "management": ("clinical follow up", "excision", "no further examination"),
}
#: The sum of the checklist's points, 0 to 10 or more.
SCORE = "seven_point_score"

#: Columns that are known only with the answer, and why.
LEAKS: Mapping[str, str] = {
    "management": "what was done with the lesion follows its diagnosis",
    "level_of_diagnostic_difficulty": "how hard a case was is known after its diagnosis only",
    SCORE: "it is computed from the labels of the other tasks",
}
#: Columns of each preset of the table.
TABLES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "clinical": ("elevation", "sex", "location"),
    "leaky_published": tuple(VOCABULARY),
    "leaky_score": (*VOCABULARY, SCORE),
}


def class_of(task: str, label: str) -> int | None:
    """Code of the class that a label is in; None for a label that the release doesn't have."""
    plain = " ".join(label.casefold().split())
    for code, labels in enumerate(TASKS[task].values()):
        if plain in labels:
            return code
    return None


def labels_of(task: str) -> tuple[str, ...]:
    """Every label of a task."""
    return tuple(label for labels in TASKS[task].values() for label in labels)


__all__ = ["LEAKS", "SCORE", "TABLES", "TASKS", "VOCABULARY", "class_of", "labels_of"]
