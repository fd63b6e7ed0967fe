"""Rows of timm: an architecture each, with the tag of its default weights."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from ..row import ZooRow

# A spread of families and sizes that run on a CPU; timm names the weights, their licence and the shape of their input.
CLASSIFIERS = ["resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "resnet152", "resnet50d", "resnet101d", "wide_resnet50_2", "resnext50_32x4d", "resnext101_32x8d", "seresnet50", "ecaresnet50t", "resnetv2_50", "resnetrs50", "regnetx_002", "regnetx_008", "regnetx_016", "regnety_002", "regnety_008", "regnety_016", "regnety_032", "densenet121", "densenet169", "densenet201", "inception_v3", "inception_v4", "xception41", "vgg11", "vgg16", "vgg19_bn", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnetv2_rw_t", "efficientnetv2_rw_s", "tf_efficientnetv2_b0", "tf_efficientnetv2_s", "tf_efficientnetv2_m", "efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2", "tf_efficientnet_lite3", "tf_efficientnet_lite4", "mobilenetv1_100", "mobilenetv2_050", "mobilenetv2_100", "mobilenetv2_140", "mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100", "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv4_conv_medium", "mobilenetv4_conv_large", "mobilenetv4_hybrid_medium", "mnasnet_100", "ghostnet_100", "ghostnetv2_100", "lcnet_050", "lcnet_075", "lcnet_100", "tinynet_a", "tinynet_c", "tinynet_e", "mixnet_s", "mixnet_m", "fbnetc_100", "spnasnet_100", "rexnet_100", "hardcorenas_a", "mobileone_s0", "mobileone_s1", "repvgg_a0", "repvgg_b0", "repvit_m1", "convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base", "convnextv2_atto", "convnextv2_nano", "convnextv2_tiny", "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_base_patch32_224", "vit_large_patch16_224", "deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224", "deit3_small_patch16_224", "beit_base_patch16_224", "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224", "swinv2_tiny_window8_256", "mvitv2_tiny", "maxvit_tiny_tf_224", "coatnet_0_rw_224", "pvt_v2_b0", "pvt_v2_b1", "pvt_v2_b2", "poolformer_s12", "edgenext_x_small", "edgenext_small", "efficientformer_l1", "efficientformerv2_s0", "fastvit_t8", "levit_128s", "xcit_nano_12_p16_224", "mobilevit_xxs", "mobilevit_xs", "mobilevit_s", "mobilevitv2_100", "cait_xxs24_224", "crossvit_tiny_240", "visformer_tiny", "tiny_vit_5m_224", "tiny_vit_11m_224", "eva02_tiny_patch14_336", "hrnet_w18_small", "dla34", "dpn68", "inception_next_tiny", "focalnet_tiny_srf", "hiera_tiny_224", "hgnetv2_b0", "davit_tiny", "mixer_b16_224", "resmlp_12_224"]
EMBEDDERS = ["vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_224.dino", "vit_base_patch16_224.dino", "vit_base_patch16_224.mae", "vit_base_patch16_clip_224.openai", "vit_base_patch32_clip_224.openai", "vit_base_patch16_siglip_224", "convnext_base.clip_laion2b", "resnet50_clip.openai", "vit_small_patch16_dinov3"]


def rows() -> list[ZooRow]:
    import timm

    source = f"timm {metadata.version('timm')}"
    known = set(timm.list_models())
    found = [_row(timm, name, source, "image-classification") for name in CLASSIFIERS if name in known]
    return found + [_row(timm, name, source, "image-embeddings") for name in EMBEDDERS if name.partition(".")[0] in known]


def _row(timm: Any, name: str, source: str, task: str) -> ZooRow:
    settings = timm.get_pretrained_cfg(name)
    architecture = f"{settings.architecture}.{settings.tag}" if settings.tag else settings.architecture
    channels, height, width = settings.input_size
    preprocessing: dict[str, Any] = {
        "inputs": [{"name": "image", "dtype": "float32", "shape": [1, channels, height, width]}],
        "size": [height, width],
        "resize": round(min(height, width) / settings.crop_pct),
        "interpolation": settings.interpolation,
        "mean": list(settings.mean),
        "std": list(settings.std),
    }
    if settings.num_classes == 1000:
        preprocessing["labels"] = "imagenet-1k"
    return ZooRow(
        name=f"deepseek/{architecture}",
        task=task,
        source="hub",
        id=f"timm/{architecture}" if settings.hf_hub_id in ("timm/", None) else settings.hf_hub_id,
        parameters=None,
        parameters_from="",
        licence=(settings.license or "").casefold(),
        licence_from=f"pretrained_cfg of {source}",
        metric=None,
        preprocessing=preprocessing,
        loader="timm",
        architecture=architecture,
        config=None,
        config_from=f"{source} has it by this name",
    )
