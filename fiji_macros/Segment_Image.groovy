#@ ImagePlus (label = "Image") imp
#@ String (label = "Cellpose model", value = "cyto3", persistKey = "cellposefiji.image.model") model
#@ String (label = "Diameter of a cell (px, auto, or own: the model's)", value = "own", persistKey = "cellposefiji.image.diameter") diameter
#@ String (label = "Channel of the cells (number, name, or shown)", value = "shown", persistKey = "cellposefiji.image.cells") cells
#@ String (label = "Channel that is measured (number, name, shown, or none)", value = "shown", persistKey = "cellposefiji.image.measured") measured
#@ String (label = "Of a colour image", choices = {"its only signal", "red", "green", "blue"}, value = "its only signal", persistKey = "cellposefiji.image.colour") colour
#@ String (label = "Radius of the rolling ball (px, or none)", value = "50", persistKey = "cellposefiji.image.radius") radius
#@ String (label = "ROIs go to", choices = {"ROI Manager", "overlay", "both"}, value = "ROI Manager", persistKey = "cellposefiji.image.rois") rois
#@ Boolean (label = "Check the numbers by the native engine", value = true, persistKey = "cellposefiji.image.check") check
// Segment Image
//
// Finds the cells of the image that is open by Cellpose, puts exact ROIs into the ROI Manager or the overlay, subtracts the
// background and measures every cell by ImageJ itself: the Results are those that "cellpose-fiji measure" writes of the saved
// file. Pixels, selection, slice and Set Measurements stay as they were.
//
// Cellpose runs in a Python process that stays: only the first call starts it and loads the model. Esc stops. Stop Worker
// ends the process.
//
// In a macro  run("Segment Image", "model=cyto3 diameter=own cells=1 measured=2 colour=[its only signal] radius=50 rois=overlay check=true");
//             as the Recorder writes it; an error stands in the Log and ends the macro.

import groovy.json.JsonSlurper
import ij.IJ
import ij.ImagePlus
import ij.ImageStack
import ij.gui.Overlay
import ij.gui.YesNoCancelDialog
import ij.io.FileSaver
import ij.io.RoiDecoder
import ij.macro.Interpreter
import ij.measure.Measurements
import ij.plugin.filter.Analyzer
import ij.plugin.filter.BackgroundSubtracter
import ij.plugin.frame.Recorder
import ij.plugin.frame.RoiManager
import ij.process.ByteProcessor
import ij.process.ColorProcessor
import ij.process.ImageProcessor
import java.awt.GraphicsEnvironment
import java.nio.file.Files
import java.util.zip.ZipInputStream

class Failed extends RuntimeException { Failed(String text) { super(text) } }

SERVICE = "cellpose-fiji.service"
MANAGED = "cellpose-fiji.managed"  // how many ROIs of ours the ROI Manager holds
FOLDER = "Cellpose Fiji Bridge"

// The Python process: the one that runs, else a new one.
def service() {
	def running = IJ.getProperty(SERVICE)
	if (running != null && running.isAlive()) return running
	def appose
	try {
		appose = Class.forName("org.apposed.appose.Appose")
	} catch (ClassNotFoundException e) {
		throw new Failed("This Fiji has no Appose (expected jars/appose-*.jar). Update Fiji (Help > Update...), and try again.")
	}
	def named = new File(IJ.getDirectory("plugins") + FOLDER, "command.txt")
	if (!named.isFile()) throw new Failed(named.path + ": not there (expected the path of the bridge's program). Run: cellpose-fiji macros install --fiji PATH")
	def program = new JsonSlurper().parseText('["' + named.getText("US-ASCII").trim() + '"]')[0]
	if (!new File(program).isFile()) throw new Failed(program + ": is not there any more (expected the program of the bridge). Install the bridge again, then run: cellpose-fiji macros install --fiji PATH")
	def bin = new File(program).parentFile
	def made = appose.custom().base(bin.parentFile).binPaths(bin.path).env(["PYTHONUTF8": "1"]).build().python()
	made.init("import numpy\nfrom bridge import fiji_worker\nfiji_worker.guard_stdout()")
	made.start()
	IJ.setProperty(SERVICE, made)
	Runtime.getRuntime().addShutdownHook(new Thread({ made.kill() }))
	return made
}

// One question to it. Esc stops the work and keeps the process.
Map ask(service, String script, Map inputs) {
	def task = service.task(script, inputs)
	task.listen { event ->
		if (event.message) IJ.showStatus(event.message + " (Esc stops)")
		if (event.maximum > 0) IJ.showProgress(event.current / (double) event.maximum)
	}
	IJ.resetEscape()
	task.start()
	def stopped = false
	try {
		while (!task.status.isFinished()) {
			if (!stopped && (IJ.escapePressed() || Thread.currentThread().isInterrupted())) {
				task.cancel()
				stopped = true
				IJ.showStatus("Cellpose stops")
			}
			Thread.sleep(20)
		}
	} finally {
		IJ.showProgress(1.0d)
	}
	switch (task.status.toString()) {
		case "CANCELED": throw new Failed("Stopped.")
		case "CRASHED": throw new Failed("The Python process ended in the middle of its work (out of memory?). The next call starts a new one.")
		case "COMPLETE": break
		default:
			IJ.log("Segment Image: " + task.error)
			throw new Failed("Something went wrong in Python; the Log says what. Please report it.")
	}
	if (task.outputs.error) throw new Failed(task.outputs.error.toString().replace(inputs.image.toString(), imp.title))
	return task.outputs
}

// The number of a channel that was named by number, by its label, or as the one shown.
int channel(String wanted) {
	if (wanted.equalsIgnoreCase("shown")) return imp.getC()
	def names = (1..imp.getNChannels()).collect { c ->
		def label = imp.getNChannels() == 1 ? null : imp.getStack().getSliceLabel(imp.getStackIndex(c, imp.getZ(), imp.getT()))
		label ? label.readLines()[0].trim() : ""
	}
	def byName = names.findIndexOf { it.equalsIgnoreCase(wanted) } + 1
	def number = wanted.isInteger() ? wanted as int : byName
	if (number < 1 || number > imp.getNChannels()) {
		def known = names.withIndex(1).collect { n, i -> n ? i + " = " + n : "" + i }.join(", ")
		throw new Failed(imp.title + ": no such channel (got " + wanted + ", expected shown, or one of " + known + "). Correct the channel.")
	}
	return number
}

// A copy of a channel at the slice and frame shown, without selection.
ImageProcessor plane(int c) {
	def shown = imp.getStackSize() == 1 ? imp.getProcessor() : imp.getStack().getProcessor(imp.getStackIndex(c, imp.getZ(), imp.getT()))
	def copy = shown.duplicate()
	copy.resetRoi()
	return copy
}

// The plane as a file of its own, named as the window where a file can be.
File saved(ImageProcessor pixels, File folder) {
	folder.mkdirs()
	def name = imp.title ==~ /[^\/\\:*?"<>|\p{Cntrl}]{1,100}\.tiff?/ ? imp.title : "image.tif"
	def file = new File(folder, name)
	def one = new ImagePlus(imp.title, pixels)
	one.setCalibration(imp.getCalibration().copy())
	if (!new FileSaver(one).saveAsTiff(file.path)) throw new Failed(file.path + ": cannot be written. Is the disk full?")
	return file
}

List found(File roiset) {
	def all = []
	new ZipInputStream(new BufferedInputStream(new FileInputStream(roiset))).withCloseable { zip ->
		def entry
		while ((entry = zip.getNextEntry()) != null) all << new RoiDecoder(zip.readAllBytes(), entry.getName()).getRoi()
	}
	return all
}

void show(List all) {
	if (rois != "ROI Manager") {
		def overlay = new Overlay()
		all.each { overlay.add((ij.gui.Roi) it.clone()) }
		overlay.drawNames(false)
		overlay.drawLabels(false)
		imp.setOverlay(overlay)
	}
	if (rois == "overlay" || GraphicsEnvironment.isHeadless()) return
	def manager = RoiManager.getInstance() ?: new RoiManager()
	def own = IJ.getProperty(MANAGED)
	if (manager.getCount() > 0 && own != manager.getCount() && !Interpreter.getInstance()) {
		def question = new YesNoCancelDialog(IJ.getInstance(), "Segment Image", "The ROI Manager holds " + manager.getCount() + " ROIs.\nTake them out?", "Take out", "Add to them")
		if (question.cancelPressed()) throw new Failed("Stopped.")
		if (question.yesPressed()) manager.reset()
	} else manager.reset()
	all.each { manager.addRoi((ij.gui.Roi) it) }
	IJ.setProperty(MANAGED, manager.getCount())
	if (imp.getWindow() == null) return
	def recording = Recorder.record
	Recorder.record = false  // the call of this script is what is recorded
	def selection = imp.getRoi()
	manager.runCommand(imp, all ? "Show All without labels" : "Show None")
	if (selection != null) imp.setRoi(selection)  // Show All takes it away
	Recorder.record = recording
}

// ImageJ's own numbers: Subtract Background and Measure of every ROI, in a copy.
def measure(ImageProcessor pixels, List all, calibration) {
	def ball = radius.equalsIgnoreCase("none") ? 0.0d : radius as double
	if (ball > 0) new BackgroundSubtracter().rollingBallBackground(pixels, ball, false, false, false, true, true)
	def copy
	if (imp.getStackSize() == 1) copy = new ImagePlus(imp.title, pixels)
	else {
		// A stack of as many slices, all of them these pixels: so its rows are labelled as the open one's.
		def stack = new ImageStack(pixels.width, pixels.height)
		(1..imp.getStackSize()).each { stack.addSlice(imp.getStack().getSliceLabel(it), pixels) }
		copy = new ImagePlus(imp.title, stack)
		copy.setSliceWithoutUpdate(imp.getStackIndex(channel(measured), imp.getZ(), imp.getT()))
	}
	copy.setCalibration(calibration)
	def overlay = new Overlay()
	all.each { overlay.add((ij.gui.Roi) it.clone()) }
	def before = Analyzer.getMeasurements()
	def decimals = Analyzer.getPrecision()
	try {
		Analyzer.setMeasurements(Measurements.AREA + Measurements.MEAN + Measurements.STD_DEV + Measurements.MIN_MAX + Measurements.CENTROID + Measurements.INTEGRATED_DENSITY + Measurements.LABELS)
		Analyzer.setPrecision(3)
		return overlay.measure(copy)
	} finally {
		Analyzer.setMeasurements(before)
		Analyzer.setPrecision(decimals)
	}
}

void work(File folder) {
	if (!radius.equalsIgnoreCase("none") && !(radius.isDouble() && (radius as double) > 0)) throw new Failed("Radius of the rolling ball: not a number of px (got " + radius + ", expected e.g. 50, or none). Correct it.")
	def worker = service()
	def settings = [model: model, diameter: diameter]
	if (colour != "its only signal") settings.rgb_channel = colour
	def image = saved(plane(channel(cells)), new File(folder, "cells"))
	def answer = ask(worker, "fiji_worker.segment(task, image, out, settings)", [image: image.path, out: folder.path, settings: settings])
	answer.warnings.each { IJ.log("Segment Image: " + it.toString().replace(image.path, imp.title)) }
	def all = found(new File(answer.roiset.toString()))
	show(all)
	def said = [all.size() + (all.size() == 1 ? " cell" : " cells")]
	if (!measured.equalsIgnoreCase("none")) {
		def pixels = plane(channel(measured))
		image = saved(pixels, new File(folder, "measured"))
		def picked = ["red", "green", "blue"].indexOf(answer.rgb_channel.toString())
		def grey = pixels instanceof ColorProcessor ? new ByteProcessor(pixels.width, pixels.height, pixels.getChannel(picked + 1)) : pixels
		def scale = imp.getCalibration().copy()
		if (scale.getUnit().startsWith("inch")) {
			// What a TIFF says in inch is dots for a printer.
			scale.pixelWidth = 1
			scale.pixelHeight = 1
			scale.setUnit("pixel")
		}
		def table = measure(grey, all, scale)
		def results = new File(folder, "Results.csv")
		table.saveAs(results.path)
		if (check) {
			def n = imp.getStackIndex(channel(measured), imp.getZ(), imp.getT())
			def stack = imp.getStackSize() == 1 ? null : [n - 1, imp.getStackSize(), imp.getStack().getSliceLabel(n) ?: ""]
			def given = [image: image.path, roiset: answer.roiset, results: results.path, title: imp.title,
				settings: [rolling_ball: radius.toLowerCase()] + (answer.rgb_channel ? [rgb_channel: answer.rgb_channel] : [:]),
				scale: [scale.pixelWidth, scale.pixelHeight, scale.scaled() ? scale.getUnit() : "pixel"], stack: stack]
			def checked = ask(worker, "fiji_worker.check(task, image, roiset, results, settings, title, scale, stack)", given)
			if (!checked.agree) IJ.log("Segment Image: " + imp.title + ": ImageJ and the native engine differ. " + checked.difference)
			said << (checked.agree ? "both engines agree to the last digit" : "THE ENGINES DIFFER: see the Log")
		}
		if (!GraphicsEnvironment.isHeadless()) table.show("Results")
	}
	IJ.showStatus(imp.title + ": " + said.join(", "))
	IJ.log("Segment Image: " + imp.title + ": " + said.join(", ") + " (" + answer.model + ", diameter " + answer.diameter_px + " px)")
}

folder = Files.createTempDirectory("cellpose-fiji-").toFile()
try {
	work(folder)
} catch (Failed e) {
	IJ.showStatus("Segment Image: " + e.message)
	if (e.message == "Stopped.") {
		if (Interpreter.getInstance()) throw new RuntimeException("Macro canceled")
	} else if (Interpreter.getInstance() != null || GraphicsEnvironment.isHeadless()) {
		// A window would stop a macro that nobody watches; IJ.error ends it.
		IJ.log("Segment Image: " + e.message)
		try {
			IJ.error("Segment Image", e.message)
		} catch (RuntimeException ended) {
			// that is how ImageJ ends a macro
		}
	} else IJ.error("Segment Image", e.message)
} finally {
	folder.deleteDir()
}
null
