from fusionzoo.data.derm7pt_labels import LEAKS, TABLES, TASKS, VOCABULARY, class_of, labels_of


def test_every_label_is_in_one_class():
    assert sum(map(len, TASKS.values())) == 24
    for task in TASKS:
        labels = labels_of(task)
        assert len(labels) == len(set(labels))
        for label in labels:
            assert label in list(TASKS[task].values())[class_of(task, label)]
    assert len(labels_of("diagnosis")) == 20


def test_labels_are_read_whatever_their_case_and_spaces():
    assert class_of("diagnosis", "Melanoma  (in situ) ") == 2
    assert class_of("diagnosis", "melanomas") is None
    assert class_of("streaks", "") is None


def test_what_leaks_is_in_leaky_presets_only():
    assert sum(map(len, VOCABULARY.values())) == 20
    for preset, columns in TABLES.items():
        assert bool(set(columns) & set(LEAKS)) == preset.startswith("leaky_")
