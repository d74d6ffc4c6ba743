"""`fusionzoo matrix` as a person meets it."""


def test_grid_and_reasons(call):
    code, out, _ = call("matrix", "--encoder", "resnet3d", "--fusion", "daft", "--fusion", "late")
    assert code == 0
    blocks = {block.splitlines()[0]: block for block in out.split("\n\n")}
    rows = {
        name: next(line for line in block.splitlines() if line.startswith("daft")).split()
        for name, block in blocks.items()
        if "daft" in block
    }
    assert rows["image + table"] == ["daft", "yes"]
    assert rows["two images"] == ["daft", "no", "(1)"]
    refused = blocks["two images"]
    assert "(1) Fusion 'daft' for 'fusion': One encoder with maps and one with vectors" in refused
    assert "8 of 12 combinations are allowed." in out


def test_specs(call):
    _, out, _ = call(
        "matrix", "--encoder", "resnet3d", "--fusion", "late", "--head", "mlp", "--specs"
    )
    first, *_ = out.splitlines()
    assert first == "image=resnet3d, table=mlp -> late -> mlp"
    assert len(out.splitlines()) == 3


def test_a_data_set(call):
    _, out, _ = call("matrix", "--encoder", "penet3d", "--fusion", "msca", "--dataset", "lidc")
    assert out.startswith("lidc\n")
    assert "2 of 2 combinations are allowed." in out
