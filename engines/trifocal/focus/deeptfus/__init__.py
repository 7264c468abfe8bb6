"""The published system, DeepTFUS (arXiv 2505.12998): a U-Net on the CT that is told of the transducer."""
