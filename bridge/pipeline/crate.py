"""The metadata of a bundle: Process Run Crate 0.5 on RO-Crate 1.1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from bridge.names import number
from bridge.pipeline.citations import HOMES, LICENCES, Work

MOST_FIELDS = 1_000  # of more, folders are described and not their files, whose hashes are in the manifest
_SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"  # which the context of RO-Crate 1.1 does not know
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_FORMATS = {
    ".csv": "text/csv", ".txt": "text/plain", ".json": "application/json", ".zip": "application/zip", ".tif": "image/tiff", ".toml": "application/toml", ".cff": "text/yaml",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xml": "application/xml",
}  # fmt: skip
_MEANINGS = {
    "masks": "Label images of cells, nuclei and rings",
    "found": "Label images of all cells, before filters",
    "corrections": "Label images that a person corrected, and as they were before",
    "rois": "ImageJ ROI sets, equal to the label images pixel for pixel",
    "measurements": "ImageJ's Results of each field and channel",
    "conditions": "Tables and workbooks of each condition",
    "records": "What each step of each field was made from, and the tables of each field",
    "classes": "Classes of cells",
    "tracks": "Cells followed over time",
    "weights": "Weights of the network that was trained by the user",
    "inputs": "Flat fields",
    "run.json": "Every setting, version, hash and time of the run",
    "fields.csv": "The plan: one row a field",
    "failures.csv": "What failed",
    "inputs.csv": "Images that went in, with their SHA-256",
    "methods.txt": "A paragraph for Methods, with references",
    "legend.txt": "A legend of the figure",
    "CITATION.cff": "What to cite",
    "settings.toml": "The settings of the run, to be given again with --settings",
    "manifest-sha256.txt": "SHA-256 of every other file",
    "cells.csv": "One row a cell",
    "nuclei.csv": "One row a nucleus",
}


def metadata(
    content: Mapping[str, Any],
    files: Mapping[str, tuple[int, str]],
    weights: Mapping[str, str],
    works: Sequence[Work],
    author: Sequence[str],
    licence: str | None,
) -> str:
    """Return `ro-crate-metadata.json`.

    Parameters
    ----------
    content : mapping
        `run.json`.
    files : mapping of str to (int, str)
        Bytes and SHA-256 of each file, by name.
    weights : mapping of str to str
        Files with weights, by what they find: ``segment`` or ``count``.
    works : sequence of Work
        What is to be cited.
    author : sequence of str
        Whose results these are; empty where nobody said so.
    licence : str or None
        Address of the licence of the results.
    """
    each = content["fields"]["done"] <= MOST_FIELDS
    top = sorted({f"{name.split('/')[0]}/" if "/" in name else name for name in files})
    channels = content["channels"]
    words = ", ".join(channels["measure"]) or "cells"
    people = [{"@id": f"#author-{k}", "@type": "Person", "name": name} for k, name in enumerate(author, 1)]
    rights = {"@id": licence or "#no-licence-stated", "@type": "CreativeWork", "name": licence or "No licence was stated"}  # fmt: skip
    rights["description"] = "Licence of the results, as their author states it" if licence else "Whoever made these results has not said under which licence they are."  # fmt: skip
    actions, software = _actions(content, top, weights, people), _software(content)
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{words} of single cells in {number(len(content['conditions']), 'condition')}",
        "description": f"Results of cellpose-fiji-bridge {content['program']['version']}: {number(content['cells'], 'cell')} of {number(content['fields']['done'], 'field')} ({number(content['fields']['failed'], 'field')} failed), with the ROI sets, label images and records that they follow from. Check them with: cellpose-fiji verify",
        "datePublished": str(content["ended"])[:10],
        "license": {"@id": rights["@id"]},
        "conformsTo": {"@id": _PROFILE},
        "hasPart": _ids(top),
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    if people:
        root["author"] = _one([{"@id": person["@id"]} for person in people])
    if works:
        root["citation"] = _one([{"@id": f"https://doi.org/{work.doi}"} for work in works])
    graph: list[dict[str, Any]] = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        root,
        {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        rights,
        *people,
        *software,
        *actions,
        *_models(content, weights),
        *({"@id": f"https://doi.org/{w.doi}", "@type": "ScholarlyArticle", "name": w.title, "datePublished": str(w.year), "isPartOf": w.journal, "author": _one(list(w.authors))} for w in works),
        *(_folder(name, files, each) for name in top if name.endswith("/")),
        *(_file(name, *files[name]) for name in sorted(files) if each or "/" not in name or name.startswith("weights/")),
    ]  # fmt: skip
    text = {"@context": ["https://w3id.org/ro/crate/1.1/context", {"sha256": _SHA256}], "@graph": graph}
    return json.dumps(text, indent=1, ensure_ascii=False) + "\n"


def _actions(
    content: Mapping[str, Any], top: Sequence[str], weights: Mapping[str, str], people: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return what was done, a step each: who, from what, to what."""
    tables = [name for name in top if name.endswith(".csv") and name not in ("fields.csv", "failures.csv", "inputs.csv")]  # fmt: skip
    tables += [name for name in top if name == "conditions/"]
    models = [weights.get(role, f"#model-{role}") for role in content["models"]]
    found = "segment" in content.get("segmentation", {}) or "count" in content.get("segmentation", {})
    measured = bool(content["channels"]["measure"] or content["channels"]["count"])
    imagej = _imagej(content) or "#program"
    steps = [
        ("segment", "Cells and nuclei were found" if found else "Label images of cells were taken as they were given", HOMES["Cellpose"] if found else "#program", ["inputs.csv", "settings.toml", *models], ["masks/", "found/", "corrections/"]),
        ("rois", "Label images became ImageJ ROI sets", "#program", ["masks/"], ["rois/"]),
        ("measure", "Background was subtracted and every ROI was measured" if measured else "Areas were counted", imagej, ["inputs.csv", "inputs/", "rois/", "run.json"], ["measurements/", "records/"]),
        ("summarize", "Fields became tables", "#program", ["records/", "classes/", "tracks/"], [*tables, "methods.txt", "legend.txt"]),
    ]  # fmt: skip
    known = {*top, *models}
    actions = []
    for name, words, instrument, objects, results in steps:
        made = [result for result in results if result in known]
        if not made:
            continue
        action: dict[str, Any] = {
            "@id": f"#{name}",
            "@type": "CreateAction",
            "name": words,
            "description": f"Of {number(content['fields']['planned'], 'field')} {content['fields']['failed']} failed (failures.csv); methods.txt says how it was done.",
            "instrument": {"@id": instrument},
            "object": _one(_ids([one for one in objects if one in known])),
            "result": _one(_ids(made)),
            "startTime": content["started"],
            "endTime": content["ended"],
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }
        if content["fields"]["failed"]:
            action["description"] = (
                f"{number(content['fields']['failed'], 'field')} of the run failed: see failures.csv"
            )
        if people:
            action["agent"] = {"@id": people[0]["@id"]}
        actions.append(action)
    return actions


def _software(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    versions = content["versions"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "cellpose")
    found = [_program("#program", "cellpose-fiji-bridge", content["program"]["version"])]
    found[0]["softwareRequirements"] = f"Python {content['python']}, {libraries}"
    found[0]["description"] = f"It ran on {content['system']}."
    if content.get("segmentation"):
        facts = next(iter(content["segmentation"].values()))
        found.append(_program(HOMES["Cellpose"], "Cellpose", facts["cellpose"]))
        found[-1]["softwareRequirements"] = f"torch {facts['torch']}, {facts['device']}, {facts['inference']}"
    imagej = content.get("imagej") or {}
    if home := _imagej(content):
        found.append(_program(home, "Fiji" if home == HOMES["Fiji"] else "ImageJ", imagej["imagej"]))
        found[-1]["softwareRequirements"] = f"Java {imagej.get('java')} ({imagej.get('java_vendor')})"
        if imagej.get("jar_sha256"):
            found[-1] |= {"description": f"Jar {imagej.get('jar')}", "sha256": imagej["jar_sha256"]}
    return found


def _imagej(content: Mapping[str, Any]) -> str | None:
    """Return the address of the ImageJ that measured; None where the native engine did."""
    if not (content.get("imagej") or {}).get("imagej"):
        return None
    return HOMES["ImageJ" if content["settings"]["fiji"] == "core" else "Fiji"]


def _program(at: str, name: str, version: str) -> dict[str, Any]:
    home = {"url": HOMES[name]} if name in HOMES else {}
    return {"@id": at, "@type": "SoftwareApplication", "name": name, "version": str(version), **home, "license": LICENCES[name]}  # fmt: skip


def _models(content: Mapping[str, Any], weights: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the networks whose weights are not in the bundle: their names and hashes suffice."""
    return [
        {"@id": f"#model-{role}", "@type": "CreativeWork", "name": PurePosixPath(str(model["name"]).replace("\\", "/")).name, "description": "Weights of a network, not in this bundle", "sha256": model["sha256"]}
        for role, model in content["models"].items()
        if role not in weights
    ]  # fmt: skip


def _folder(name: str, files: Mapping[str, Any], each: bool) -> dict[str, Any]:
    own = [file for file in sorted(files) if file.startswith(name)]
    made: dict[str, Any] = {"@id": quote(name), "@type": "Dataset", "name": name.rstrip("/")}
    made["description"] = f"{_MEANINGS.get(name.rstrip('/'), 'Files of the run')} ({number(len(own), 'file')}, their SHA-256 in manifest-sha256.txt)"  # fmt: skip
    if each or name == "weights/":
        made["hasPart"] = _one(_ids(own))
    return made


def _file(name: str, size: int, digest: str) -> dict[str, Any]:
    made: dict[str, Any] = {"@id": quote(name), "@type": "File", "name": name.rpartition("/")[2]}
    if name in _MEANINGS:
        made["description"] = _MEANINGS[name]
    return made | {
        "encodingFormat": _FORMATS.get(PurePosixPath(name).suffix.lower(), "application/octet-stream"),
        "contentSize": str(size),
        "sha256": digest,
    }


def _ids(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"@id": name if name.startswith("#") else quote(name)} for name in names]


def _one(values: list[Any]) -> Any:
    """Return a single value alone: validators take a list of one for something else."""
    return values[0] if len(values) == 1 else values
