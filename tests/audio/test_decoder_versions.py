import re

from transforms.audio.decoder_versions import decoder_settings, decoder_versions


def test_decoder_versions_and_settings():
    versions, settings = decoder_versions(), decoder_settings()
    assert versions.keys() == settings.keys()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+.*", version) for version in versions.values())
    assert all(versions[name].startswith(settings[name] + ".") for name in versions)
    assert [part.count(".") for part in settings.values()] == [1, 0]
