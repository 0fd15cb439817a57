"""The classes of a proposed diagnosis, and their probabilities, in the words that report, terminal and SR share."""

DIAGNOSES = {
    "NOR": "Normal heart",
    "MINF": "Old infarct, reduced LV function",
    "DCM": "Dilated cardiomyopathy",
    "HCM": "Hypertrophic cardiomyopathy",
    "RV": "Abnormal right ventricle",
    "normal": "No infarct",
    "pathological": "Infarct",
}
"""Classes as `measurements.json` has them, in words."""


def class_words(name: str) -> str:
    """A class in words; a name that is not known stays as it is.

    >>> class_words("pathological"), class_words("other")
    ('Infarct', 'other')
    """
    return DIAGNOSES.get(name, name)


def percent_words(probability: float) -> str:
    """A probability as it may be read: a regression on a few dozen patients is never certain.

    >>> [percent_words(p) for p in (0.0004, 0.25, 0.9, 0.997)]
    ['below 1 %', '25 %', '90 %', 'above 99 %']
    """
    if probability < 0.01:
        return "below 1 %"
    return "above 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"
