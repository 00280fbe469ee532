// Draws a picture on an iPhone, iPad or Mac with what `edgestep export --format coreml --layout fused` made.
//
// Not compiled here: edgestep is built and tested on Linux, where no Swift with Core ML is. The names, shapes and
// metadata keys below are held against an exported package by tests/test_ios_example.py, and the tokenizer against the
// artifact's own. See README.md beside this file for how to use it.
//
// From iOS 17 and macOS 14 on. One file, no packages. Apache-2.0.

import CoreML
import Foundation
import SwiftUI
import VideoToolbox

/// What the package calls its inputs and outputs, and where its metadata holds the contract.
enum Names {
    static let inputIds = "input_ids"
    static let noise = "noise"
    static let image = "image"
    static let contract = "edgestep.contract"
}

struct DrawingError: LocalizedError {
    let errorDescription: String?
    init(_ text: String) { errorDescription = text }
}

/// The part of the package's contract that a client of the fused form needs: how a prompt is padded.
struct Contract: Decodable {
    let promptTokens: Int
    let bosTokenId: Int32
    let eosTokenId: Int32
    let padTokenId: Int32

    enum CodingKeys: String, CodingKey {
        case promptTokens = "prompt_tokens"
        case bosTokenId = "bos_token_id"
        case eosTokenId = "eos_token_id"
        case padTokenId = "pad_token_id"
    }
}

/// CLIP's tokenizer: lower case, words by a pattern, their bytes as letters, pairs merged in the order of merges.txt.
struct ClipTokenizer {
    static let pattern = #"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"#
    static let endOfWord = "</w>"

    private let vocabulary: [String: Int32]
    private let ranks: [String: Int]
    private let letters: [UInt8: String]
    private let words: NSRegularExpression

    init(vocabulary: URL, merges: URL) throws {
        self.vocabulary = try JSONDecoder().decode([String: Int32].self, from: Data(contentsOf: vocabulary))
        let lines = try String(contentsOf: merges, encoding: .utf8).split(separator: "\n")
        let pairs = lines.filter { !$0.hasPrefix("#version") }.map(String.init)
        ranks = Dictionary(pairs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        letters = Self.byteLetters()
        words = try NSRegularExpression(pattern: Self.pattern)
    }

    /// Returns `contract.promptTokens` ids: begin, the prompt, end, padding. Throws where the prompt does not fit.
    func ids(of prompt: String, contract: Contract) throws -> [Int32] {
        let text = prompt.precomposedStringWithCanonicalMapping.lowercased()
        let range = NSRange(text.startIndex..., in: text)
        let found = words.matches(in: text, range: range).compactMap { Range($0.range, in: text) }
        let tokens = found.flatMap { merged(Array(text[$0].utf8)) }
        let ids = [contract.bosTokenId] + tokens.map { vocabulary[$0] ?? contract.eosTokenId } + [contract.eosTokenId]
        guard ids.count <= contract.promptTokens else {
            throw DrawingError("The prompt has \(ids.count) tokens, \(contract.promptTokens) fit: shorten it.")
        }
        return ids + Array(repeating: contract.padTokenId, count: contract.promptTokens - ids.count)
    }

    private func merged(_ bytes: [UInt8]) -> [String] {
        var parts = bytes.map { letters[$0]! }
        parts[parts.count - 1] += Self.endOfWord
        while parts.count > 1 {
            let pairs = (0 ..< parts.count - 1).map { ranks["\(parts[$0]) \(parts[$0 + 1])"] ?? Int.max }
            guard let best = pairs.min(), best < Int.max else { break }
            let at = pairs.firstIndex(of: best)!
            let right = parts.remove(at: at + 1)
            parts[at] += right
        }
        return parts
    }

    /// GPT-2's letters for bytes: printable ones stand for themselves, the others for what follows 255 in order.
    private static func byteLetters() -> [UInt8: String] {
        let printable = Set(Array(33 ... 126) + Array(161 ... 172) + Array(174 ... 255))
        var letters: [UInt8: String] = [:]
        var next = 256
        for byte in 0 ... 255 {
            let scalar = printable.contains(byte) ? byte : next
            next += printable.contains(byte) ? 0 : 1
            letters[UInt8(byte)] = String(UnicodeScalar(UInt32(scalar))!)
        }
        return letters
    }
}

/// Standard normal numbers from a seed, the same on every device: SplitMix64 and Box-Muller. They are not numpy's: to
/// draw what `edgestep generate` drew, hand over its noise itself.
struct Noise {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    private mutating func uniform() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        z ^= z >> 31
        return (Double(z >> 11) + 0.5) / 9_007_199_254_740_992
    }

    mutating func next() -> Float {
        let radius = (-2 * log(uniform())).squareRoot()
        return Float(radius * cos(2 * Double.pi * uniform()))
    }
}

/// The generator: ids and noise to a picture, in one step.
final class OneStepGenerator {
    private let model: MLModel
    private let contract: Contract
    private let tokenizer: ClipTokenizer

    /// `model` is the compiled package (generator.mlmodelc), `tokenizer` the artifact's folder with vocab.json and
    /// merges.txt. `function` chooses a size of a package that has several: "size_512x768", height first.
    init(model url: URL, tokenizer folder: URL, function: String? = nil, units: MLComputeUnits = .all) async throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        if let function {
            guard #available(iOS 18, macOS 15, *) else { throw DrawingError("Functions need iOS 18 or macOS 15.") }
            configuration.functionName = function
        }
        model = try await MLModel.load(contentsOf: url, configuration: configuration)
        contract = try Self.contract(of: model)
        tokenizer = try ClipTokenizer(
            vocabulary: folder.appending(path: "vocab.json"), merges: folder.appending(path: "merges.txt")
        )
    }

    func draw(_ prompt: String, seed: UInt64) throws -> CGImage {
        var noise = Noise(seed: seed)
        let ids = try tokenizer.ids(of: prompt, contract: contract)
        return try draw(ids: ids) { _ in noise.next() }
    }

    /// Draws from ids that were made elsewhere and from given noise, row by row of [1, C, h, w].
    func draw(ids: [Int32], noise: (Int) -> Float) throws -> CGImage {
        let inputs = try MLDictionaryFeatureProvider(dictionary: [
            Names.inputIds: array(named: Names.inputIds) { NSNumber(value: ids[$0]) },
            Names.noise: array(named: Names.noise) { NSNumber(value: noise($0)) },
        ])
        guard let pixels = try model.prediction(from: inputs).featureValue(for: Names.image)?.imageBufferValue else {
            throw DrawingError("The package gives no image: export it with --layout fused --image uint8.")
        }
        var picture: CGImage?
        VTCreateCGImageFromCVPixelBuffer(pixels, options: nil, imageOut: &picture)
        guard let picture else { throw DrawingError("The picture could not be read from its buffer.") }
        return picture
    }

    /// Returns an array of the shape and type that the package asks for.
    private func array(named name: String, value: (Int) -> NSNumber) throws -> MLMultiArray {
        guard let asked = model.modelDescription.inputDescriptionsByName[name]?.multiArrayConstraint else {
            throw DrawingError("The package has no input \(name): export it with --layout fused.")
        }
        let array = try MLMultiArray(shape: asked.shape, dataType: asked.dataType)
        for i in 0 ..< array.count { array[i] = value(i) }
        return array
    }

    private static func contract(of model: MLModel) throws -> Contract {
        let told = model.modelDescription.metadata[.creatorDefinedKey] as? [String: String]
        guard let json = told?[Names.contract] else {
            throw DrawingError("The package has no contract in its metadata: export it with edgestep.")
        }
        return try JSONDecoder().decode(Contract.self, from: Data(json.utf8))
    }
}

/// A prompt, a button, a picture.
struct OneStepView: View {
    @State private var prompt = "grinning face"
    @State private var seed: UInt64 = 0
    @State private var picture: CGImage?
    @State private var told = ""
    @State private var generator: OneStepGenerator?

    var body: some View {
        VStack {
            TextField("Prompt", text: $prompt)
            Button("Draw") { Task { await draw() } }
            if let picture { Image(decorative: picture, scale: 1).resizable().interpolation(.none).scaledToFit() }
            Text(told)
        }
        .padding()
    }

    private func draw() async {
        do {
            if generator == nil {
                guard let model = Bundle.main.url(forResource: "generator", withExtension: "mlmodelc"),
                      let tokenizer = Bundle.main.url(forResource: "tokenizer", withExtension: nil)
                else { throw DrawingError("Add generator.mlpackage and the folder tokenizer to the app.") }
                generator = try await OneStepGenerator(model: model, tokenizer: tokenizer)
            }
            seed += 1
            picture = try generator?.draw(prompt, seed: seed)
            told = "seed \(seed)"
        } catch {
            told = error.localizedDescription
        }
    }
}
